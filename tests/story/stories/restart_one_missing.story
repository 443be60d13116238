# One worker went away meanwhile: it is told, and lost.
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
restart
launched
hello w1
  welcome w1
hello w2
  welcome w2
+800 beat w1 w2
+800 beat w1 w2
+800 beat w1 w2
+600 tick
  freeze 2.2
  record
  launch t19 place 2
  note worker_lost silent
ack w1 w2 at 4
  go 2.2 step 4 world 2 hosts 1 lineage 1.1 state h1
  note generation_started workers 2 world 2
  record
step w1 to 5
  note recovered in_place losses 1 lost 0
  record
