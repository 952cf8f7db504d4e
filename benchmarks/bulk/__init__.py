"""`aircheck bulk` measured: what kills cost, how full it keeps a server, what an item costs, how fast it rescores."""
