# A rank that is still given its state may keep the others waiting; later no sum may fail to come.
job launch workers 2 min 1
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
exit w1 signal 9
  note rank_exited w1 rank 0 signal 9
  freeze 1.2
  start w1 slots 1
  record
ack w1 w2 at 1
  go 1.2 step 1 world 1 hosts 1 lineage 1.1 state h1
  note generation_started workers 1 world 1
  record
ready w1
  freeze 1.3
ack w2 at 1
ack w1
  go 1.3 step 1 world 2 hosts 1 lineage 1.1 state h1
  note generation_started workers 2 world 2
  record
+900 beat w2
+900 beat w1 w2
+900 beat w1 w2
comm_failed w2 after 2000
beat w1 at 1
+900 beat w1 w2
comm_failed w2 after 2000
+900 beat w1 w2
+900 beat w1 w2
comm_failed w2 after 2000
  freeze 1.4
  record
comm_failed w1 after 2000
ack w1 w2 at 1
  go 1.4 step 1 world 2 hosts 1 lineage 1.1 state h1
  note generation_started workers 2 world 2
  record
step w1 w2 to 2
  note recovered in_place losses 1 lost 0
  record
