# A worker that is not heard of is lost; a loop that was late itself waits longer.
job launch workers 2 min 1
  note job_started
  record
  launch t9 place 0
  launch t10 place 1
tick
hello w1 ticket 9
  welcome w1
  note worker_joined w1
hello w2 ticket 10
  welcome w2
  note worker_joined w2
  start w2 slots 1
  start w1 slots 1
ready w1 w2
  record
  freeze 1.1
ack w1 w2
  record
  go 1.1 step 0 world 2 hosts 1 lineage 1.1 fresh restart
  note generation_started workers 2 world 2
step w1 w2 to 1
+600 beat w1 w2
+600 beat w1
+500 tick late 450
+100 beat w1
+350 tick
  freeze 1.2 fence w2
  record
  launch t18 place 1
  note worker_lost w2 silent
  kill w2 t10
ack w1 at 4
  go 1.2 step 4 world 1 hosts 1 lineage 1.1 state h1
  note generation_started workers 1 world 1
  record
step w1 to 5
  note recovered in_place losses 1 lost 0
  record
