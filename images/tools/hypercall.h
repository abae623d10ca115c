/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Raw hypercalls from user space through /dev/xen/privcmd. For dom0: since
 * 6.12 Linux blocks them in unprivileged domains.
 */
#ifndef EVH_HYPERCALL_H
#define EVH_HYPERCALL_H

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "evh.h"
#include "xenabi.h"

/* Calls per multicall. */
#define HYP_BATCH 128

union hyp_arg {
    struct evtchn_alloc_unbound alloc;
    struct evtchn_bind_interdomain bind;
    struct evtchn_bind_ipi ipi;
    struct evtchn_close close;
    struct evtchn_send send;
    struct evtchn_status status;
};

struct hyp {
    int fd;
    /*
     * Xen accesses hypercall arguments through the caller's page tables and
     * never faults pages in, so they must be resident.
     */
    struct multicall_entry *calls;   /* HYP_BATCH of them */
    union hyp_arg *arg;              /* HYP_BATCH of them */
    struct xen_sysctl *sysctl;
};

/* Prepare @h. False if /dev/xen/privcmd cannot be opened. */
static inline bool hyp_try_open(struct hyp *h)
{
    const size_t size = 4 * 4096;
    uint8_t *mem = MAP_FAILED;
    int buf;

    h->fd = open("/dev/xen/privcmd", O_RDWR | O_CLOEXEC);
    if ( h->fd < 0 )
        return false;

    /* Linux never migrates these pages, unlike pages of user memory. */
    buf = open("/dev/xen/hypercall", O_RDWR | O_CLOEXEC);
    if ( buf >= 0 )
    {
        mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, buf, 0);
        close(buf);
    }
    if ( mem == MAP_FAILED )
    {
        mem = mmap(NULL, size, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
        if ( mem == MAP_FAILED || mlock(mem, size) )
            die(errno, "hypercall buffer", "is there no memory left?");
    }
    _Static_assert(HYP_BATCH * sizeof(struct multicall_entry) <= 2 * 4096,
                   "the multicall does not fit its pages");
    _Static_assert(HYP_BATCH * sizeof(union hyp_arg) <= 4096,
                   "the arguments do not fit their page");
    h->calls = (void *)mem;
    h->arg = (void *)(mem + 2 * 4096);
    h->sysctl = (void *)(mem + 3 * 4096);
    return true;
}

static inline void hyp_open(struct hyp *h)
{
    if ( !hyp_try_open(h) )
        die(errno, "/dev/xen/privcmd",
            "raw hypercalls work in dom0 only; is xen-privcmd built in?");
}

/* Returns Xen's result, or -1 with errno. */
static inline long hyp_call(const struct hyp *h, unsigned int op,
                            uint64_t a0, uint64_t a1)
{
    struct privcmd_hypercall call = { .op = op, .arg = { a0, a1 } };

    return ioctl(h->fd, IOCTL_PRIVCMD_HYPERCALL, &call);
}

static inline long hyp_evtchn(const struct hyp *h, unsigned int cmd)
{
    return hyp_call(h, __HYPERVISOR_event_channel_op, cmd, (uintptr_t)h->arg);
}

/* Each of these returns a port, or -1 with errno. */
static inline int64_t hyp_alloc_unbound(struct hyp *h, domid_t remote)
{
    h->arg->alloc = (struct evtchn_alloc_unbound){
        .dom = DOMID_SELF, .remote_dom = remote };
    return hyp_evtchn(h, EVTCHNOP_alloc_unbound) ? -1
        : (int64_t)h->arg->alloc.port;
}

static inline int64_t hyp_bind_interdomain(struct hyp *h, domid_t remote,
                                           uint32_t remote_port)
{
    h->arg->bind = (struct evtchn_bind_interdomain){
        .remote_dom = remote, .remote_port = remote_port };
    return hyp_evtchn(h, EVTCHNOP_bind_interdomain) ? -1
        : (int64_t)h->arg->bind.local_port;
}

static inline int64_t hyp_bind_ipi(struct hyp *h, uint32_t vcpu)
{
    h->arg->ipi = (struct evtchn_bind_ipi){ .vcpu = vcpu };
    return hyp_evtchn(h, EVTCHNOP_bind_ipi) ? -1 : (int64_t)h->arg->ipi.port;
}

static inline int hyp_send(struct hyp *h, uint32_t port)
{
    h->arg->send.port = port;
    return hyp_evtchn(h, EVTCHNOP_send) ? -1 : 0;
}

static inline int hyp_close(struct hyp *h, uint32_t port)
{
    h->arg->close.port = port;
    return hyp_evtchn(h, EVTCHNOP_close) ? -1 : 0;
}

/* Do @op on arg[0] to arg[n - 1] in one multicall; see calls[].result. */
static inline void hyp_multicall(struct hyp *h, unsigned int cmd, uint32_t n)
{
    for ( uint32_t i = 0; i < n; i++ )
        h->calls[i] = (struct multicall_entry){
            .op = __HYPERVISOR_event_channel_op,
            .args = { cmd, (uintptr_t)&h->arg[i] } };
    if ( hyp_call(h, __HYPERVISOR_multicall, (uintptr_t)h->calls, n) )
        die(errno, "multicall", "look at Xen's console");
}

static inline int hyp_errno(const struct hyp *h, uint32_t i)
{
    return -(int)(long)h->calls[i].result;
}

/*
 * @n (up to HYP_BATCH) alloc_unbound in one multicall. Returns the number that
 * succeeded before the first failure, with their ports in @ports; errno has the
 * error of the first failure.
 */
static inline uint32_t hyp_alloc_batch(struct hyp *h, domid_t remote,
                                       uint32_t n, uint32_t *ports)
{
    for ( uint32_t i = 0; i < n; i++ )
        h->arg[i].alloc = (struct evtchn_alloc_unbound){
            .dom = DOMID_SELF, .remote_dom = remote };
    hyp_multicall(h, EVTCHNOP_alloc_unbound, n);
    for ( uint32_t i = 0; i < n; i++ )
    {
        if ( h->calls[i].result )
        {
            errno = hyp_errno(h, i);
            return i;
        }
        ports[i] = h->arg[i].alloc.port;
    }
    return n;
}

/* Likewise bind_interdomain, to the ports @remote_ports of domain @remote. */
static inline uint32_t hyp_bind_batch(struct hyp *h, domid_t remote,
                                      const uint32_t *remote_ports, uint32_t n,
                                      uint32_t *ports)
{
    for ( uint32_t i = 0; i < n; i++ )
        h->arg[i].bind = (struct evtchn_bind_interdomain){
            .remote_dom = remote, .remote_port = remote_ports[i] };
    hyp_multicall(h, EVTCHNOP_bind_interdomain, n);
    for ( uint32_t i = 0; i < n; i++ )
    {
        if ( h->calls[i].result )
        {
            errno = hyp_errno(h, i);
            return i;
        }
        ports[i] = h->arg[i].bind.local_port;
    }
    return n;
}

/*
 * EVTCHNOP_send or _close, whose argument is only a port, on @n ports. Returns
 * the number that Xen refused, and in @err the error of the first refusal.
 */
static inline uint32_t hyp_each(struct hyp *h, unsigned int cmd,
                                const uint32_t *ports, uint32_t n, int *err)
{
    uint32_t failed = 0;

    for ( uint32_t done = 0, k; done < n; done += k )
    {
        k = n - done < HYP_BATCH ? n - done : HYP_BATCH;
        for ( uint32_t i = 0; i < k; i++ )
            h->arg[i].send.port = ports[done + i];
        hyp_multicall(h, cmd, k);
        for ( uint32_t i = 0; i < k; i++ )
            if ( h->calls[i].result && !failed++ )
                *err = hyp_errno(h, i);
        progress(cmd == EVTCHNOP_send ? "send" : "close", done + k, n);
    }
    return failed;
}

/*
 * Set @state[port] to the EVTCHNSTAT_* of each port of @dom below @limit, as
 * Xen reports it; ports that Xen has not allocated yet count as closed. Returns
 * the number of open ports.
 */
static inline uint32_t hyp_scan(struct hyp *h, domid_t dom, uint32_t limit,
                                uint8_t *state)
{
    uint32_t open = 0;

    for ( uint32_t port = 0, k; port < limit; port += k )
    {
        k = limit - port < HYP_BATCH ? limit - port : HYP_BATCH;
        for ( uint32_t i = 0; i < k; i++ )
            h->arg[i].status = (struct evtchn_status){
                .dom = dom, .port = port + i };
        hyp_multicall(h, EVTCHNOP_status, k);
        for ( uint32_t i = 0; i < k; i++ )
        {
            int err = hyp_errno(h, i);

            if ( err && err != EINVAL )
                die(err, "EVTCHNOP_status", "does this domain exist?");
            state[port + i] = err ? EVTCHNSTAT_closed
                                  : (uint8_t)h->arg[i].status.status;
            open += state[port + i] != EVTCHNSTAT_closed;
        }
        progress("scan", port + k, limit);
    }
    return open;
}

struct xen_pages {
    uint64_t free, total, scrub;
    uint32_t cpu_khz;
};

/* Ask Xen for its memory, in the interface version that it speaks. */
static inline int hyp_physinfo(struct hyp *h)
{
    static const uint32_t versions[] = XEN_SYSCTL_INTERFACE_VERSIONS;
    int rc = -1;

    for ( unsigned int i = 0; i < sizeof(versions) / sizeof(*versions); i++ )
    {
        *h->sysctl = (struct xen_sysctl){
            .cmd = XEN_SYSCTL_physinfo, .interface_version = versions[i] };
        rc = hyp_call(h, __HYPERVISOR_sysctl, (uintptr_t)h->sysctl, 0);
        if ( !rc || errno != EACCES )
            break;
    }
    return rc;
}

/*
 * May this domain ask Xen for its memory? An unprivileged domain has
 * /dev/xen/privcmd too, but its hypercalls are refused.
 */
static inline bool hyp_privileged(struct hyp *h)
{
    return !hyp_physinfo(h) || errno != EPERM;
}

static inline struct xen_pages hyp_pages(struct hyp *h)
{
    if ( hyp_physinfo(h) )
        die(errno, "XEN_SYSCTL_physinfo",
            "EACCES: no sysctl version that xenabi.h knows is this Xen's");
    return (struct xen_pages){
        .free = h->sysctl->u.physinfo.free_pages,
        .total = h->sysctl->u.physinfo.total_pages,
        .scrub = h->sysctl->u.physinfo.scrub_pages,
        .cpu_khz = h->sysctl->u.physinfo.cpu_khz };
}

#endif
