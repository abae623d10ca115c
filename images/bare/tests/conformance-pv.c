/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Suite conformance: what only PV guests have, most of it only as dom0. */
#ifdef PV
#include "domu/domu.h"
#include "lib/test.h"

/* physdev.h */
enum {
    PHYSDEVOP_set_iopl = 6, PHYSDEVOP_eoi = 12, PHYSDEVOP_pirq_eoi_gmfn_v1 = 17,
};

static void outb(uint16_t port, uint8_t val)
{
    asm volatile ( "outb %0, %1" :: "a" (val), "Nd" (port) );
}

static uint8_t inb(uint16_t port)
{
    uint8_t val;

    asm volatile ( "inb %1, %0" : "=a" (val) : "Nd" (port) );
    return val;
}

/* Tell the keyboard controller that it has received a byte, which raises IRQ 1. */
static void keyboard_irq(void)
{
    outb(0x64, 0xd2);
    outb(0x60, 0x55);
}

static void forget_levels(void)
{
    for ( unsigned int n = 0; n < nr_vcpus; n++ )
    {
        shared->vcpu[n].upcall_pending = 0;
        shared->vcpu[n].pending_sel = 0;
        memset(l2_page[n], 0, L2_BYTES);
    }
}

static long eoi(void)
{
    uint32_t irq = 1;

    return hypercall(HYPERVISOR_physdev_op, PHYSDEVOP_eoi, &irq);
}

TEST(pirq_arrives)
{
    /* Xen keeps using this page after the test. */
    static char eoi_map[PAGE_SIZE] __attribute__((aligned(PAGE_SIZE)));
    struct { unsigned long gmfn; } gmfn = { gfn_of(eoi_map) };
    struct { uint32_t iopl; } iopl = { 1 };
    long port;

    check_eq(hypercall(HYPERVISOR_physdev_op, PHYSDEVOP_set_iopl, &iopl), 0);
    check(enter(ABI_3L, PORTS_PER_PAGE));
    port = open_pirq(KEYBOARD_GSI);
    if ( !is_dom0 )
    {
        check_eq(port, -EPERM);
        return;
    }
    check(port > 0);
    for ( unsigned int i = 0; i < 3; i++ )
    {
        keyboard_irq();
        check_eq(poll(port, 1000000000), 1);
        check(take(port));
        check_eq(inb(0x60), 0x55);
        check_eq(eoi(), 0);
    }
    /* It also arrives on another vCPU. */
    check_eq(bind_vcpu(port, 1), 0);
    keyboard_irq();
    check_eq(poll(port, 1000000000), 1);
    check(shared->vcpu[1].upcall_pending && shared->vcpu[1].pending_sel);
    check(take(port));
    inb(0x60);
    check_eq(eoi(), 0);
    /*
     * While it is masked, it stays pending. An EOI unmasks it once the guest has
     * asked for that by registering an EOI map.
     */
    set_masked(port, true);
    forget_levels();
    keyboard_irq();
    check_eq(poll(port, 1000000000), 1);
    check(pending_3l(port));
    check(!shared->vcpu[1].upcall_pending && !shared->vcpu[1].pending_sel);
    check_eq(hypercall(HYPERVISOR_physdev_op, PHYSDEVOP_pirq_eoi_gmfn_v1, &gmfn), 0);
    inb(0x60);
    check_eq(eoi(), 0);
    check(shared->vcpu[1].upcall_pending && shared->vcpu[1].pending_sel);
    check(test_bit(l2_page[1], L2_BIT(port)));
    check_eq(close_port(port), 0);
}

/* Xen finds out that it cannot have the PIRQ after it has allocated a port. */
TEST(a_refused_pirq_leaves_no_port)
{
    if ( !is_dom0 )
    {
        check_eq(open_pirq(CASCADE_GSI), -EPERM);
        return;
    }
    check(enter(ABI_3L, PORTS_PER_PAGE));
    check_eq(open_ipi(0), 1);
    check_eq(open_pirq(CASCADE_GSI), -EBUSY);
    check_eq(open_ipi(0), 2);
    check_eq(open_pirq(CASCADE_GSI), -EBUSY);
    check_eq(open_ipi(0), 3);
}

/*
 * Upon the 'q' debug key, Xen sends VIRQ_DEBUG to each vCPU. Its output has Xen
 * send VIRQ_CON_RING, a global VIRQ, to the vCPU that its port is bound to.
 */
TEST(virqs_of_a_vcpu_and_global_ones)
{
    long debug[2], ring;

    if ( !is_dom0 )
    {
        check(open_virq(VIRQ_CON_RING, 0) < 0);
        return;
    }
    check(enter(ABI_3L, PORTS_PER_PAGE));
    debug[0] = open_virq(VIRQ_DEBUG, 0);
    debug[1] = open_virq(VIRQ_DEBUG, 1);
    check_eq(open_virq(VIRQ_CON_RING, 1), -EINVAL);
    ring = open_virq(VIRQ_CON_RING, 0);
    check(debug[0] > 0 && debug[1] > 0 && ring > 0);
    check_eq(bind_vcpu(debug[1], 0), -EINVAL);
    check_eq(bind_vcpu(ring, 1), 0);
    set_masked(debug[0], true);
    take(ring);
    forget_levels();
    check_eq(debug_key('q'), 0);
    check_eq(poll(ring, 1000000000), 1);
    check(take(ring) && take(debug[1]));
    check(test_bit(l2_page[1], L2_BIT(ring)) && shared->vcpu[1].upcall_pending);
    /* vCPU 0 has only the masked port, which is pending and raises nothing. */
    check(!VCPU0->pending_sel && !VCPU0->upcall_pending && !l2_page[0][0]);
    check(pending_3l(debug[0]));
    check_eq(unmask(debug[0]), 0);
    check(VCPU0->pending_sel && VCPU0->upcall_pending);
    check(test_bit(l2_page[0], L2_BIT(debug[0])));
}

#endif
