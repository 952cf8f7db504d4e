"""What a machine carries, and how many are needed: `aircheck capacity`.

| module | subject |
|---|---|
| `entry` | from the options of `aircheck capacity` to files |
| `objective` | what must hold for a load to count as carried |
| `running` | one load by Locust, with the server's metrics and the machine's use beside it |
| `independent` | the same load by a second client, plain asyncio |
| `steps` | the figures of a load |
| `measure` | the whole measurement of one server |
| `search` | closed loop, then the walk to the knee, repeated until it is stable |
| `queueing` | a seeded simulation of one or many servers |
| `fleet_check` | that simulation against two servers |
| `planning` | hours a month to machines and money |
| `processes` | CPU time of the server's processes |
| `profile` | all that was measured, as JSON |
| `plots`, `report` | the page |
"""
