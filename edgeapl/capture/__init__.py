"""Capture in a child process that may crash or hang without taking the station with it.

`supervisor.SupervisedSource` starts `child` and keeps it alive; pictures pass through `slots`,
small messages through pipes as `messages` says.
"""
