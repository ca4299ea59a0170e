"""Networks in a child process that may hang or crash without taking the station with it.

`host.EngineHost` starts `child`, gives its engines as if they were here, and ends it when a run is
not over at its deadline. Arrays pass through `shared` memory, small messages through pipes as
`wire` says.
"""
