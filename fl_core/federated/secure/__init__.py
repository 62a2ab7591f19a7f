"""Secure aggregation (Bonawitz et al., CCS 2017): the server learns the clients' sum, and no more.

"Practical Secure Aggregation for Privacy-Preserving Machine Learning", the variant for honest but
curious parties: rounds 0, 1, 2 and 4 of its figure 4. Round 3, in which the clients sign who is
alive, guards against a server that lies: it is left out.

Client k holds q_k, a vector of P integers modulo 2^bits. Every pair of clients agrees on a seed
s_kj that the server does not know, and client k draws a seed b_k of its own. What it sends is

    y_k = q_k + PRG(b_k) + sum_{j > k} PRG(s_kj) - sum_{j < k} PRG(s_kj)   mod 2^bits

(the paper's figure 4 has the two signs the other way round, which changes nothing). The masks of
pairs cancel in the sum. Of a client that fails after it has shared its keys they do not: so each
client's b_k and its secret key are shared t-of-n (Shamir) among all of them, and in the end those
who are left reveal their shares of b_k of every client that is in the sum, and of the secret key of
every client that is not. Both of one client would unmask it: a client never reveals both.

    agreement.py  X25519, HKDF-SHA256, AES-256-GCM: seeds and channels of pairs
    shamir.py     t-of-n shares
    prg.py        AES-256-CTR: a seed becomes a mask
    messages.py   what crosses the wire, to the byte
    client.py     one client's four steps; the only place that sees q_k
    server.py     the server's; it takes bytes and nothing else
    protocol.py   all of them in one process: `secure_sum`

What it guarantees. A server that follows the protocol but looks at all it receives, alone or
together with up to t - 1 of the clients, learns the sum of the others' vectors and nothing else of
them (theorem 6.3 of the paper, under the usual assumptions on the primitives and with private,
authenticated channels between server and clients).

What the sum tells all the same: the sum itself, which clients took part and which failed when, and,
where updates are weighted, the sum of the weights. Of few clients, a sum tells much about each; of
one, everything. Sums of two rounds, or of two almost equal sets of clients, can be subtracted.

What it does not guard against: a server that lies (one that tells different clients different lists
of who is alive collects both kinds of shares, and one that hands out keys of its own reads the
shares: t > n / 2 without colluders, t > 2n / 3 with up to a third of the clients, round 3 and
signed keys are needed against it), clients that send poisoned vectors (nobody can look at one: no
robust aggregate works on top), a client that answers with wrong shares (of a secret key it is
noticed, of b_k it spoils the sum).

The secrets of a simulation come from the study's random streams, so that a trial can be repeated;
they never influence the sum. In a deployment they would come from the operating system, and a
client would run on its own machine.
"""
