# The loss of a spare is none of the job's: another one is launched.
job launch workers 1 max 1 spares 1 restarts 0
  note job_started
  record
  launch t3 place 0
  launch t4 place 1
hello w1 ticket 3
  welcome w1
  note worker_joined w1
  start w1 slots 1
hello w2 ticket 4
  welcome w2
  note worker_joined w2
ready w1
  freeze 1.1
  record
ack w1 w2
  record
  go 1.1 step 0 world 1 hosts 1 lineage 1.1 fresh restart
  note generation_started workers 1 world 1
step w1 to 1
close w2 ended
  record
  launch t6 place 1
  note worker_lost w2 closed spare
  kill w2 t4
step w1 to 2
