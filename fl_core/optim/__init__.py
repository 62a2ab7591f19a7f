"""Optimisers, for the clients' steps and for the server's, behind one protocol: SGD with momentum
(dense, or under a mask), Adagrad, Adam, Yogi; and SparseSGDM as a torch optimiser.
"""
