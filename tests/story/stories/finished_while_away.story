# Ranks finish while no coordinator is there: the new one learns of it by the hellos, and the job ends.
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
leave w1 w2 at 7 unheard
exit w1 w2 code 0 unheard
restart
hello w1 w2
  welcome w1
  welcome w2
  record
  shutdown
  note job_finished exit 0 steps 7
  finish 0
