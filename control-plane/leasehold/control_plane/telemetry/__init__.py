"""What a control plane lets others measure.

- ``declared``    every metric, said once: what it is, what is normal, what to do
- ``gauges``      what is at this moment, read from tallies when somebody asks
- ``ages``        how old is what is condemned (pure); ``census`` looks at it now and then, in small slices
- ``etcd_health`` versions, alarms and size of etcd; ``pulse`` how late the event loop is
- ``watching``    the last three and the census, running

Counters are written where things happen, through ``control_plane.metrics``. No view walks what grows with the number of
resources.
"""
