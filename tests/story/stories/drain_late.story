# Nobody comes in time: a silence before its end it hands over to those who are there.
job launch workers 2
  note job_started
  record
  launch t9 place 0
  launch t10 place 1
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
drain w2 in 5000
  record
  launch t18 place 1
+900 beat w1 w2
+900 beat w1 w2
+900 beat w1 w2
+900 beat w1 w2
+400 tick
  freeze 1.2
ack w1 w2 at 9
  go 1.2 step 9 world 1 hosts 1 lineage 1.1 state h1
  note generation_started workers 1 world 1
  note drained w2
  kill w2 t10
  record
close w2 ended
step w1 to 10
hello w3 ticket 18
  welcome w3
  note worker_joined w3
  start w3 slots 1
ready w3
  freeze 1.3
ack w1 at 20
ack w3
  go 1.3 step 20 world 2 hosts 1 lineage 1.2 state h1
  note generation_started workers 2 world 2
  record
step w1 w3 to 21
