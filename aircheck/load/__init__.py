"""Load on a server, and what became of it: who calls when, with what audio, by Locust or by asyncio.

| module | subject |
|---|---|
| `lengths` | how long what is sent is: a distribution, or a file of real lengths |
| `shapes` | how the rate of arrivals changes: steady, steps, a spike, a replayed schedule |
| `workload` | all options of a load, and the arrivals that follow from them and a seed |
| `audio` | clips and recordings, cut from real ones |
| `calls` | what became of each call, and the file of them |
| `senders` | one call of each kind |
| `turns` | which arrival is whose turn, open or closed loop |
| `locustfile` | Locust's users, events and options |
| `web_tab` | the tab in Locust's page |
| `server_metrics` | what the server's own metrics say meanwhile |

Needs the extra `load` (Locust) for the last of these but two.
"""
