# Somebody gets ready just as the job ends: a member that stands still for it, while another has left
# already, gets a word by which it leaves as well.
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
step w1 w2 w3 to 8
+10 exit w2 signal 9
  note rank_exited w2 rank 1 signal 9
  freeze 1.2
  start w2 slots 1
  record
ack w1 w2 w3 at 8
  go 1.2 step 8 world 2 hosts 1 lineage 1.1 state h1
  note generation_started workers 2 world 2
  record
step w1 w3 to 9
  note recovered in_place losses 1 lost 0
  record
+50 ready w2
  freeze 1.3
leave w1 at 20
ack w2
ack w3 at 20
ack w1
  go 1.3 step 20 world 1 hosts 1 lineage 1.2 state h1
  note generation_started workers 1 world 1
  record
leave w3 at 20
exit w1 w3 code 0
  record
  shutdown
  note job_finished exit 0 steps 20
  finish 0
