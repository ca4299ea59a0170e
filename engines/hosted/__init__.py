"""Networks in a child process that may hang or crash without taking the station with it.

`host.EngineHost` has its engines used as if they were here. Its `supervisor` keeps the process
(`child`) alive and ends it when a run is not over at its deadline; `client` hands arrays over and
waits for answers, with `requests` to know which are under way. How the two speak is in
`edgeapl.process`.
"""
