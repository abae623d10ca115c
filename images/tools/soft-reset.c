// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * soft-reset --domid D: those steps of libxl_domain_soft_reset() that a PVH
 * domain needs. libxl 4.20 accepts only HVM domains, though Xen has no
 * such limit. The domain has shut down with SHUTDOWN_soft_reset, as kexec does
 * on the way to the next kernel. It loses its event channels, gets new ones for
 * xenstore and its console, and continues. The caller must close its devices
 * first: a backend would write to memory that the next kernel owns. Dom0 only.
 */
#define _GNU_SOURCE
#include <getopt.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "hypercall.h"

#define XENSTORED "/run/xenstored/socket"

static struct hyp h;
static domid_t domid;

/* Returns 0 or an errno. */
static int domctl(uint32_t cmd)
{
    static const uint32_t versions[] = XEN_DOMCTL_INTERFACE_VERSIONS;
    struct xen_domctl *op = (void *)h.sysctl;
    int err = EACCES;

    for ( unsigned int i = 0;
          err == EACCES && i < sizeof(versions) / sizeof(*versions); i++ )
    {
        *op = (struct xen_domctl){
            .cmd = cmd, .interface_version = versions[i], .domain = domid };
        err = hyp_call(&h, __HYPERVISOR_domctl, (uintptr_t)op, 0) ? errno : 0;
    }
    return err;
}

/* Xen would also reset a domain that shut down for another reason, and would
 * reset half of a PV domain before it fails. */
static void check_domain(void)
{
    const uint32_t want = XEN_DOMINF_hvm_guest | XEN_DOMINF_shutdown |
                          SHUTDOWN_soft_reset << XEN_DOMINF_shutdownshift;
    const uint32_t mask = want | XEN_DOMINF_shutdownmask
                                 << XEN_DOMINF_shutdownshift;
    int err = domctl(XEN_DOMCTL_getdomaininfo);

    if ( err )
        die(err, "XEN_DOMCTL_getdomaininfo",
            "ESRCH: there is no such domain; EACCES: another release of Xen");
    if ( (((struct xen_domctl *)h.sysctl)->u.info.flags & mask) != want )
        die(EINVAL, "--domid", "a PVH domain that has shut down for a kexec");
}

/* Allocate a port of the domain that dom0 may bind to, and put it in @param,
 * where the domain's next kernel looks for it. */
static uint32_t new_port(uint32_t param)
{
    struct evtchn_alloc_unbound *alloc = &h.arg->alloc;
    struct xen_hvm_param *set = (void *)h.arg;
    uint32_t port;

    *alloc = (struct evtchn_alloc_unbound){ .dom = domid, .remote_dom = 0 };
    if ( hyp_evtchn(&h, EVTCHNOP_alloc_unbound) )
        die(errno, "EVTCHNOP_alloc_unbound", "see Xen's console");
    port = alloc->port;

    *set = (struct xen_hvm_param){
        .domid = domid, .index = param, .value = port };
    if ( hyp_call(&h, __HYPERVISOR_hvm_op, HVMOP_set_param, (uintptr_t)set) )
        die(errno, "HVMOP_set_param", "see Xen's console");
    return port;
}

static void all(ssize_t n, size_t size, const char *what)
{
    if ( n != (ssize_t)size )
        die(n < 0 ? errno : EPIPE, what, "is xenstored running?");
}

static void xenstore(int fd, uint32_t type, const char *body, size_t len)
{
    struct xsd_sockmsg msg = { .type = type, .len = (uint32_t)len };
    char answer[256];

    all(write(fd, &msg, sizeof(msg)), sizeof(msg), "xenstored");
    all(write(fd, body, len), len, "xenstored");
    all(recv(fd, &msg, sizeof(msg), MSG_WAITALL), sizeof(msg), "xenstored");
    if ( msg.len >= sizeof(answer) )
        die(EPROTO, "xenstored", "its answer is longer than any should be");
    all(recv(fd, answer, msg.len, MSG_WAITALL), msg.len, "xenstored");
    answer[msg.len] = 0;
    if ( msg.type == XS_ERROR )
        die(EIO, "xenstored refused", answer);
}

static void tell_xenstore(uint32_t store, uint32_t console)
{
    struct sockaddr_un to = { .sun_family = AF_UNIX, .sun_path = XENSTORED };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char body[128];
    int len;

    if ( fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) )
        die(errno, XENSTORED, "is xenstored running?");

    /* A path with its terminator, then a value without one. xenconsoled
     * watches the console's port and binds again. */
    len = sprintf(body, "/local/domain/%u/store/port%c%u", domid, 0, store);
    xenstore(fd, XS_WRITE, body, (size_t)len);
    len = sprintf(body, "/local/domain/%u/console/port%c%u", domid, 0,
                  console);
    xenstore(fd, XS_WRITE, body, (size_t)len);

    /* Clear the shutdown state, so that the next shutdown is reported. */
    len = sprintf(body, "%u%c", domid, 0);
    xenstore(fd, XS_RESUME, body, (size_t)len);
    /* Binds the new port and drops the old kernel's watches and transactions.
     * The frame number is ignored now: xenstored maps the ring by a grant. */
    len = sprintf(body, "%u%c0%c%u%c", domid, 0, 0, store, 0);
    xenstore(fd, XS_INTRODUCE, body, (size_t)len);
    close(fd);
}

int main(int argc, char **argv)
{
    static const char usage[] = "soft-reset --domid D";
    static const struct option opts[] = {
        { "domid", required_argument, NULL, 'd' },
        { NULL, 0, NULL, 0 },
    };
    uint64_t number = 0;
    uint32_t store, console;
    int err;

    for ( int c; (c = getopt_long(argc, argv, "", opts, NULL)) != -1; )
    {
        if ( c != 'd' )
            die(EINVAL, "usage", usage);
        number = parse_u64(optarg, "--domid");
    }
    if ( optind != argc || !number || number >= DOMID_SELF )
        die(EINVAL, "usage", usage);
    domid = (domid_t)number;

    js_open("start");
    js_s("tool", "soft-reset");
    js_u("domid", domid);
    js_close();

    hyp_open(&h);
    check_domain();
    /* Otherwise it would run immediately after the reset. */
    if ( (err = domctl(XEN_DOMCTL_pausedomain)) )
        die(err, "XEN_DOMCTL_pausedomain", "see Xen's console");
    if ( (err = domctl(XEN_DOMCTL_soft_reset)) )
    {
        domctl(XEN_DOMCTL_unpausedomain);
        die(err, "XEN_DOMCTL_soft_reset", "see Xen's console");
    }
    /* If any of this fails, the domain stays paused: it needs both ports. */
    store = new_port(HVM_PARAM_STORE_EVTCHN);
    console = new_port(HVM_PARAM_CONSOLE_EVTCHN);
    tell_xenstore(store, console);
    if ( (err = domctl(XEN_DOMCTL_unpausedomain)) )
        die(err, "XEN_DOMCTL_unpausedomain", "see Xen's console");

    js_open("result");
    js_u("store_port", store);
    js_u("console_port", console);
    js_close();
    return 0;
}
