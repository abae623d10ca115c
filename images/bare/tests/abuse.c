/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Suite abuse: what a hostile guest may try. Xen has to survive it, to refuse
 * what is wrong, to leak nothing, and to serve the guest once it behaves.
 */
#include "tests/abuse.h"

unsigned long spare[4][PAGE_SIZE / sizeof(long)]
    __attribute__((aligned(PAGE_SIZE)));

/* The good value half of the time, an arbitrary or an extreme one otherwise. */
static uint32_t hostile_word(uint32_t good)
{
    static const uint32_t odd[] = { 0, 1, 2, 15, 16, 63, 64, 4095, 4096,
        0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff };

    switch ( rnd() % 4 )
    {
    case 0:
        return odd[rnd() % ARRAY_SIZE(odd)];
    case 1:
        return rnd() >> (rnd() & 31);
    default:
        return good;
    }
}

static uint64_t hostile_frame(const void *good)
{
    switch ( rnd() % 8 )
    {
    case 0:
        return rnd() & 0xfffff;         /* any domain's */
    case 1:
        return (uint64_t)rnd() << 32 | rnd();
    case 2:
        return shared_gfn;
    case 3:
        return ~0ULL >> (rnd() & 63);
    case 4:
        return gfn_of(spare[rnd() & 3]);
    default:
        return gfn_of(good);
    }
}

static bool documented(long rc)
{
    static const uint8_t errors[] = {
        EBUSY, EINVAL, ENOENT, ENOSPC, ENXIO, ENOMEM,
        /* Xen passes these on if it cannot get a reference to the page. */
        EPERM, EAGAIN,
    };

    for ( unsigned int i = 0; i < ARRAY_SIZE(errors); i++ )
        if ( rc == -errors[i] )
            return true;
    return false;
}

/*
 * Under emulation, a guest's exit to Xen costs much more than the operation
 * does, above all an HVM guest's, so a multicall carries a batch of calls.
 */
static struct multicall multicalls[BATCH];
static union {
    struct reg_3level pair;
    struct reg_3level_vcpu vcpu;
    struct { uint32_t vcpu, port; } ipi;
    uint32_t port;
    uint16_t dom;
} arguments[BATCH];

/* Zero, mostly: Xen refuses everything else. */
static uint64_t hostile_flags(void)
{
    return rnd() % 32 ? 0 : (uint64_t)rnd() << 32 | rnd();
}

/* Mostly registrations; now and then an operation that uses them, or a reset. */
static void choose_call(unsigned int i)
{
    unsigned int n = rnd() % NR_PAIRS, v = rnd() % nr_vcpus, op;

    switch ( rnd() % 64 )
    {
    case 0:
        op = EVTCHNOP_reset;
        arguments[i].dom = DOMID_SELF;
        break;
    case 1 ... 4:
        op = EVTCHNOP_bind_ipi;
        arguments[i].ipi.vcpu = v;
        break;
    case 5 ... 8:
        op = EVTCHNOP_send;
        arguments[i].port = 1 + rnd() % 8;
        break;
    case 9 ... 36:
        op = EVTCHNOP_register_3level;
        arguments[i].pair = (struct reg_3level){
            hostile_word(n), rnd(), hostile_frame(l3_pending[n]),
            hostile_frame(l3_mask[n]), hostile_flags()
        };
        break;
    default:
        op = EVTCHNOP_register_3level_vcpu;
        arguments[i].vcpu = (struct reg_3level_vcpu){
            hostile_word(v), hostile_word(v * L2_BYTES),
            hostile_frame(l2_page[v]), hostile_flags()
        };
    }
    multicalls[i] = (struct multicall){
        HYPERVISOR_event_channel_op, 0, { op, (unsigned long)&arguments[i] },
    };
}

/* 1 if Xen accepted the call, 0 if it refused it as documented, or the error. */
static long answer(unsigned int op, long rc)
{
    switch ( op )
    {
    case EVTCHNOP_register_3level:
    case EVTCHNOP_register_3level_vcpu:
        return !rc ? 1 : documented(rc) ? 0 : rc;
    case EVTCHNOP_reset:
        return rc;
    }
    return 0;
}

long hostile_calls(uint32_t nr)
{
    uint32_t of_pair = 0, of_vcpu = 0;
    long good = 0;

    while ( of_pair < nr || of_vcpu < nr )
    {
        /* A debug build of Xen overwrites a multicall but for the results. */
        unsigned int ops[BATCH];

        for ( unsigned int i = 0; i < BATCH; i++ )
        {
            choose_call(i);
            ops[i] = multicalls[i].arg[0];
        }
        if ( hypercall(HYPERVISOR_multicall, multicalls, BATCH) )
            return -EFAULT;
        for ( unsigned int i = 0; i < BATCH; i++ )
        {
            unsigned int op = ops[i];
            long rc = answer(op, multicalls[i].result);

            if ( rc < 0 )
                return rc;
            good += rc;
            of_pair += op == EVTCHNOP_register_3level;
            of_vcpu += op == EVTCHNOP_register_3level_vcpu;
        }
    }
    return good;
}

TEST(both_ops_with_hostile_values)
{
    uint32_t of_each = arg_number("rounds", 100000);
    long good = hostile_calls(of_each);

    metric("calls_of_each", of_each);
    metric("accepted", good);
    /* With fewer, hardly anything but refusals would have been tested. */
    check(good > (long)of_each / 50);
    sane();
}

TEST(arguments_that_are_not_there)
{
    check_eq(evtchn_op(EVTCHNOP_register_3level, (void *)-4096L), -EFAULT);
    check_eq(evtchn_op(EVTCHNOP_register_3level_vcpu, (void *)-4096L), -EFAULT);
    check_eq(evtchn_op(17, NULL), -ENOSYS);
    sane();
}

/*
 * The guest's own frame numbers with one more bit set, beyond all memory. A
 * page-table entry that exploits L1TF has such a frame number.
 */
TEST(frames_with_a_bit_past_all_memory)
{
    uint64_t pending = gfn_of(l3_pending[0]), mask = gfn_of(l3_mask[0]);

    for ( unsigned int bit = 28; bit < 64; bit++ )
    {
        check(register_at(0, 0, gfn_of(l2_page[0]) | 1ULL << bit) < 0);
        check_eq(register_vcpu(0, l2_page[0], 0), 0);
        check(register_frames(0, pending | 1ULL << bit, mask) < 0);
        check(register_frames(0, pending, mask | 1ULL << bit) < 0);
        check_eq(reset(), 0);
    }
    sane();
}

TEST(a_frame_that_was_given_back)
{
    uint64_t gfn = give_away(spare[0]);

    check(register_at(0, 0, gfn) < 0);
    check_eq(register_vcpu(0, l2_page[0], 0), 0);
    check(register_frames(0, gfn, gfn_of(l3_mask[0])) < 0);
    check(register_frames(0, gfn_of(l3_pending[0]), gfn) < 0);
    take_back(spare[0]);
    sane();
}

/* Xen's reference keeps the old frame allocated: Xen writes to no other one. */
TEST(a_frame_that_is_given_back_when_registered)
{
    long port;

    check_eq(register_vcpu(0, l2_page[0], 0), 0);
    check_eq(register_frames(0, gfn_of(spare[0]), gfn_of(spare[1])), 0);
    port = open_ipi(0);
    give_away(spare[0]);
    give_away(spare[1]);
    check_eq(send(port), 0);
    check_eq(unmask(port), 0);
    take_back(spare[0]);
    take_back(spare[1]);
    check_eq(send(port), 0);
    check_eq(spare[0][0], 0);
    check_eq(reset(), 0);
    sane();
}

TEST(the_same_frame_twice)
{
    uint64_t a = gfn_of(spare[0]), b = gfn_of(spare[1]);

    check_eq(register_vcpu(0, l2_page[0], 0), 0);
    check_eq(register_frames(0, a, a), -EINVAL);
    check_eq(register_frames(0, a, b), 0);
    check_eq(register_frames(1, a, gfn_of(spare[2])), -EINVAL);
    check_eq(register_frames(1, gfn_of(spare[2]), b), -EINVAL);
    check_eq(register_frames(1, b, a), -EINVAL);
    check_eq(register_at(1, 0, a), -EINVAL);
    check_eq(register_frames(1, gfn_of(spare[2]), gfn_of(spare[3])), 0);
    sane();
}

/* vCPU 1 writes junk to all memory that Xen shares, while vCPU 0 has Xen use it. */
static volatile bool enough;

static void scribble(void *arg)
{
    (void)arg;
    while ( !enough )
    {
        unsigned long *to;

        switch ( rnd() % 5 )
        {
        case 0:
            to = &l3_pending[rnd() % NR_PAIRS][0];
            break;
        case 1:
            to = &l3_mask[rnd() % NR_PAIRS][0];
            break;
        case 2:
            to = &l2_page[rnd() & 1][0];
            break;
        case 3:
            shared->vcpu[rnd() & 1].pending_sel = rnd() * (unsigned long)rnd();
            continue;
        default:
            shared->evtchn_mask[rnd() % WORD_BITS] = rnd();
            shared->evtchn_pending[rnd() % WORD_BITS] = rnd();
            continue;
        }
        to[rnd() % (PAGE_SIZE / sizeof(long))] = rnd() * (unsigned long)rnd();
    }
}

TEST(pages_scribbled_over_while_xen_works)
{
    uint32_t rounds = arg_number("rounds", is_pv ? 300 : 50);
    long rc;

    enough = false;
    start(1, scribble, NULL);
    for ( uint32_t i = 0; i < rounds; i++ )
    {
        struct reg_3level_vcpu other = { 1, L2_BYTES, gfn_of(l2_page[1]), 0 };

        reset();
        open_ipis(40, 0, &rc);
        send_batch(1, 1, 20);
        register_vcpu(0, l2_page[0], 0);
        evtchn_op(EVTCHNOP_register_3level_vcpu, &other);
        for ( unsigned int p = 0; p < 1 + rnd() % NR_PAIRS; p++ )
            register_pair(p, NULL);
        open_ipis(rnd() % 200, rnd() & 1, &rc);
        for ( unsigned int n = 0; n < 20; n++ )
        {
            uint32_t port = 1 + rnd() % 150;

            switch ( rnd() % 4 )
            {
            case 0:
                unmask(port);
                break;
            case 1:
                close_port(port);
                break;
            default:
                send(port);
            }
        }
    }
    enough = true;
    finish(1);
    metric("rounds", rounds);
    sane();
}
