/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The parts of Xen's and Linux's ABI that the in-guest tools use. Taken from
 * the public headers, which neither the build host nor the guests have:
 *
 *   xen/include/public/xen.h            hypercall numbers, domid, multicall
 *   xen/include/public/event_channel.h  EVTCHNOP_*
 *   xen/include/public/sysctl.h         physinfo
 *   xen/include/public/domctl.h         pause, unpause, soft reset
 *   xen/include/public/hvm/hvm_op.h, params.h  HVMOP_*_param, HVM_PARAM_*
 *   xen/include/public/io/xs_wire.h     format of requests to xenstored
 *   linux/include/uapi/xen/privcmd.h    IOCTL_PRIVCMD_HYPERCALL
 *   linux/include/uapi/xen/evtchn.h     IOCTL_EVTCHN_*
 */
#ifndef EVH_XENABI_H
#define EVH_XENABI_H

#include <stdint.h>
#include <sys/ioctl.h>

/* xen.h */
#define __HYPERVISOR_multicall          13
#define __HYPERVISOR_event_channel_op   32
#define __HYPERVISOR_hvm_op             34
#define __HYPERVISOR_sysctl             35
#define __HYPERVISOR_domctl             36

typedef uint16_t domid_t;
#define DOMID_SELF ((domid_t)0x7ff0)

struct multicall_entry {
    unsigned long op, result;
    unsigned long args[6];
};

/* event_channel.h */
#define EVTCHNOP_bind_interdomain 0
#define EVTCHNOP_close            3
#define EVTCHNOP_send             4
#define EVTCHNOP_status           5
#define EVTCHNOP_alloc_unbound    6
#define EVTCHNOP_bind_ipi         7

struct evtchn_alloc_unbound {
    domid_t dom, remote_dom;
    uint32_t port;
};

struct evtchn_bind_interdomain {
    domid_t remote_dom;
    uint32_t remote_port;
    uint32_t local_port;
};

struct evtchn_bind_ipi {
    uint32_t vcpu;
    uint32_t port;
};

struct evtchn_close {
    uint32_t port;
};

struct evtchn_send {
    uint32_t port;
};

struct evtchn_status {
    domid_t dom;
    uint32_t port;
#define EVTCHNSTAT_closed      0
#define EVTCHNSTAT_unbound     1
#define EVTCHNSTAT_interdomain 2
#define EVTCHNSTAT_pirq        3
#define EVTCHNSTAT_virq        4
#define EVTCHNSTAT_ipi         5
#define EVTCHNSTAT_count       6 /* not in Xen's header: number of states */
    uint32_t status;
    uint32_t vcpu;
    union {
        struct { domid_t dom; } unbound;
        struct { domid_t dom; uint32_t port; } interdomain;
        uint32_t pirq;
        uint32_t virq;
    } u;
};

/*
 * sysctl.h: the versions of Xen 4.18 to 4.20, and of 4.21 and 4.22, which have
 * the same layout of what is used here. A Xen refuses any version but its own
 * with EACCES, before it looks at anything else.
 */
#define XEN_SYSCTL_INTERFACE_VERSIONS { 0x15, 0x16 }
#define XEN_SYSCTL_physinfo 3

struct xen_sysctl_physinfo {
    uint32_t threads_per_core, cores_per_socket, nr_cpus, max_cpu_id;
    uint32_t nr_nodes, max_node_id, cpu_khz, capabilities;
    uint32_t arch_capabilities, pad;
    uint64_t total_pages, free_pages, scrub_pages, outstanding_pages, max_mfn;
    uint32_t hw_cap[8];
};

struct xen_sysctl {
    uint32_t cmd, interface_version;
    union {
        struct xen_sysctl_physinfo physinfo;
        uint8_t pad[128];
    } u;
};

/* domctl.h likewise, of Xen 4.19 to 4.21, and of 4.22. */
#define XEN_DOMCTL_INTERFACE_VERSIONS { 0x17, 0x18 }
#define XEN_DOMCTL_pausedomain   3
#define XEN_DOMCTL_unpausedomain 4
#define XEN_DOMCTL_getdomaininfo 5
#define XEN_DOMCTL_soft_reset    79

/* Only its first fields. */
struct xen_domctl_getdomaininfo {
    domid_t domain;
    uint16_t pad1;
#define XEN_DOMINF_hvm_guest     (1u << 1)
#define XEN_DOMINF_shutdown      (1u << 2)
#define XEN_DOMINF_shutdownmask  255u
#define XEN_DOMINF_shutdownshift 16
    uint32_t flags;
};

struct xen_domctl {
    uint32_t cmd, interface_version;
    domid_t domain;
    uint16_t _pad[3];
    union {
        struct xen_domctl_getdomaininfo info;
        uint8_t pad[128];
    } u;
};

/* sched.h */
#define SHUTDOWN_soft_reset 5u

/* hvm/hvm_op.h, hvm/params.h */
#define HVMOP_set_param 0

#define HVM_PARAM_STORE_EVTCHN   2
#define HVM_PARAM_CONSOLE_EVTCHN 18

struct xen_hvm_param {
    domid_t domid;
    uint16_t pad;
    uint32_t index;
    uint64_t value;
};

/* io/xs_wire.h */
#define XS_INTRODUCE 8
#define XS_WRITE     11
#define XS_ERROR     16
#define XS_RESUME    18

struct xsd_sockmsg {
    uint32_t type, req_id, tx_id, len;
};

/* privcmd.h */
struct privcmd_hypercall {
    uint64_t op;
    uint64_t arg[5];
};
#define IOCTL_PRIVCMD_HYPERCALL \
    _IOC(_IOC_NONE, 'P', 0, sizeof(struct privcmd_hypercall))

/* evtchn.h */
struct ioctl_evtchn_bind_interdomain {
    unsigned int remote_domain, remote_port;
};
#define IOCTL_EVTCHN_BIND_INTERDOMAIN \
    _IOC(_IOC_NONE, 'E', 1, sizeof(struct ioctl_evtchn_bind_interdomain))

struct ioctl_evtchn_port {
    unsigned int value; /* remote_domain for BIND_UNBOUND_PORT, else a port */
};
#define IOCTL_EVTCHN_BIND_UNBOUND_PORT \
    _IOC(_IOC_NONE, 'E', 2, sizeof(struct ioctl_evtchn_port))
#define IOCTL_EVTCHN_UNBIND \
    _IOC(_IOC_NONE, 'E', 3, sizeof(struct ioctl_evtchn_port))
#define IOCTL_EVTCHN_NOTIFY \
    _IOC(_IOC_NONE, 'E', 4, sizeof(struct ioctl_evtchn_port))
#define IOCTL_EVTCHN_BIND_STATIC \
    _IOC(_IOC_NONE, 'E', 7, sizeof(struct ioctl_evtchn_port))

/* The largest number of ports of any ABI (2 * 64^3, the 3-level one). */
#define MAX_PORTS (1u << 19)

#endif
