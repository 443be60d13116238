# One has left, another is killed before it has: the end is safe, nobody waits for ever.
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
leave w1 at 7
exit w2 signal 9
  note rank_exited w2 rank 1 signal 9
exit w1 code 0
  note recovered in_place losses 1 lost 0
  record
  shutdown
  note job_finished exit 0 steps 7
  finish 0
+900 beat w1 w2
+900 beat w1 w2
+900 beat w1 w2
