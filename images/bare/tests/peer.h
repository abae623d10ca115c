/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a domain that was started with suite=peer does. */
#ifndef BARE_TESTS_PEER_H
#define BARE_TESTS_PEER_H

struct peer;

/* Serve the requests in this page, for ever. */
void peer_main(struct peer *box);

#endif
