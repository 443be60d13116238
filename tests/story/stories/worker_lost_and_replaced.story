# A worker is gone: the rest goes on, a launch fills its place.
job launch workers 3 min 1
  note job_started
  record
  launch t9 place 0
  launch t10 place 1
  launch t11 place 2
hello w1 ticket 9
  welcome w1
  note worker_joined w1
hello w2 ticket 10
  welcome w2
  note worker_joined w2
hello w3 ticket 11
  welcome w3
  note worker_joined w3
  start w3 slots 1
  start w1 slots 1
  start w2 slots 1
ready w1 w2 w3
  record
  freeze 1.1
ack w1 w2 w3
  record
  go 1.1 step 0 world 3 hosts 1 lineage 1.1 fresh restart
  note generation_started workers 3 world 3
step w1 to 1
+20 close w3
  freeze 1.2 fence w3
  record
  launch t19 place 2
  note worker_lost w3 closed
  kill w3 t11
ack w1 w2 at 4
  go 1.2 step 4 world 2 hosts 1 lineage 1.1 state h1
  note generation_started workers 2 world 2
  record
step w1 to 5
  note recovered in_place losses 1 lost 0
  record
+100 hello w4 ticket 19
  welcome w4
  note worker_joined w4
  start w4 slots 1
+20 ready w4
  freeze 1.3
ack w1 w2 w4 at 9
  go 1.3 step 9 world 3 hosts 1 lineage 1.2 state h1
  note generation_started workers 3 world 3
  record
step w1 to 10
