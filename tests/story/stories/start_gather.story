# One worker of two does not come: after the gathering time the job starts with one.
job launch workers 2 min 1 gather 500
  note job_started
  record
  launch t9 place 0
  launch t10 place 1
hello w1 ticket 9
  welcome w1
  note worker_joined w1
+100 tick
+400 tick
  start w1 slots 1
ready w1
  freeze 1.1
  record
ack w1
  record
  go 1.1 step 0 world 1 hosts 1 lineage 1.1 fresh restart
  note generation_started workers 1 world 1
step w1 to 1
hello w2 ticket 10
  welcome w2
  note worker_joined w2
  start w2 slots 1
ready w2
  freeze 1.2
ack w1 w2 at 3
  go 1.2 step 3 world 2 hosts 1 lineage 1.1 state h1
  note generation_started workers 2 world 2
  record
