"""Capture in a child process that may crash or hang without taking the station with it.

`source.SupervisedSource` gives the pictures of a camera whose process (`child`) a
`supervisor.CameraSupervisor` keeps alive. How the two speak is in `edgeapl.process`.
"""
