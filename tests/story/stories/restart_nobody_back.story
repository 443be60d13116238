# All are gone: they are launched anew.
job launch workers 2 checkpoints
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
  find
found step none
  record
  go 1.1 step 0 world 2 hosts 1 lineage 1.1 fresh restart
  note generation_started workers 2 world 2
step w1 w2 to 1
restart
launched
+3000 tick
  record
  launch t17 place 0
  launch t18 place 1
  note worker_lost silent
  note worker_lost silent
hello w3 ticket 17
  welcome w3
  note worker_joined w3
  start w3 slots 1
hello w4 ticket 18
  welcome w4
  note worker_joined w4
  start w4 slots 1
ready w3 w4
  freeze 2.2
ack w3 w4
  find
found step 1
  load w3 step 1
loaded w3 step 1
  go 2.2 step 1 world 2 hosts 1 lineage 2.2 restart state h1
  note generation_started workers 2 world 2
  record
step w3 to 2
  note recovered relaunch losses 2 lost 0
  record
