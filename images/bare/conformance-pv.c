/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Suite conformance: what only a PV guest has, and dom0 at that. */
#ifdef PV
#include "bare.h"

/* physdev.h */
enum {
    PHYSDEVOP_set_iopl = 6, PHYSDEVOP_eoi = 12, PHYSDEVOP_map_pirq = 13,
    PHYSDEVOP_setup_gsi = 21,
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

/* The keyboard controller can be told to have received a byte: IRQ 1. */
static void keyboard_irq(void)
{
    outb(0x64, 0xd2);
    outb(0x60, 0x55);
}

TEST(pirq_arrives)
{
    struct { uint32_t iopl; } iopl = { 1 };
    struct { int gsi; uint8_t triggering, polarity; } gsi = { 1, 0, 0 };
    struct {
        uint16_t dom;
        int type, index, pirq, bus, devfn, entry;
        uint64_t table;
    } map = { DOMID_SELF, 1 /* MAP_PIRQ_TYPE_GSI */, 1, 1, 0, 0, 0, 0 };
    struct { uint32_t pirq, flags, port; } bind = { 1, 0, 0 };
    uint32_t irq = 1;

    check_eq(hypercall(HYPERVISOR_physdev_op, PHYSDEVOP_set_iopl, &iopl), 0);
    hypercall(HYPERVISOR_physdev_op, PHYSDEVOP_setup_gsi, &gsi);
    check_eq(hypercall(HYPERVISOR_physdev_op, PHYSDEVOP_map_pirq, &map),
             is_dom0 ? 0 : -EPERM);
    if ( !is_dom0 )
        return;
    check(enter(ABI_3L, PORTS_PER_PAGE));
    check_eq(evtchn_op(EVTCHNOP_bind_pirq, &bind), 0);
    for ( unsigned int i = 0; i < 3; i++ )
    {
        keyboard_irq();
        check_eq(poll(bind.port, 1000000000), 1);
        check(take(bind.port));
        check_eq(inb(0x60), 0x55);
        hypercall(HYPERVISOR_physdev_op, PHYSDEVOP_eoi, &irq);
    }
    /* On another vCPU. */
    check_eq(bind_vcpu(bind.port, 1), 0);
    keyboard_irq();
    check_eq(poll(bind.port, 1000000000), 1);
    check(shared->vcpu[1].upcall_pending && shared->vcpu[1].pending_sel);
    inb(0x60);
    hypercall(HYPERVISOR_physdev_op, PHYSDEVOP_eoi, &irq);
    check_eq(close_port(bind.port), 0);
}

#endif
