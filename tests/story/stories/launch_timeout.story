# A launched worker that says nothing is given up, and launched again; late it is refused.
job launch workers 1 launch_timeout 2000
  note job_started
  record
  launch t9 place 0
tick
+2000 tick
  kill w0 t9
+1000 tick
  record
  launch t17 place 0
hello w1 ticket 9
  refuse w1: this process is no longer a member of the job
  kill w1 t9
hello w2 ticket 17
  welcome w2
  note worker_joined w2
  start w2 slots 1
