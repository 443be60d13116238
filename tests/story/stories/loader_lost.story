# Who loads is lost: another is asked.
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
exit w1 w2 signal 9
  note rank_exited w1 rank 0 signal 9
  freeze 1.2
  start w1 slots 1
  record
  note rank_exited w2 rank 1 signal 9
  start w2 slots 1
ready w1 w2
  freeze 1.3
ack w1 w2
  find
found step 7
  load w1 step 7
close w1
  freeze 1.4 fence w1
  record
  launch t17 place 0
  note worker_lost w1 closed
  kill w1 t9
ack w2
  find
found step 7
  load w2 step 7
loaded w2 step 7
  go 1.4 step 7 world 1 hosts 1 lineage 1.4 restart state h1
  note generation_started workers 1 world 1
  record
step w2 to 8
  note recovered relaunch losses 3 lost 0
  record
