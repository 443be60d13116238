# The host with the newest state is lost before the other got it: held until it is back, for its newer snapshot.
job launch workers 2 min 1
  note job_started
  record
  launch t9 place 0
  launch t10 place 1
hello w1 ticket 9
  welcome w1
  note worker_joined w1
hello w2 ticket 10 host 2
  welcome w2
  note worker_joined w2
  start w2 slots 1
  start w1 slots 1
ready w1 w2
  record
  freeze 1.1
ack w1 w2
  record
  carriers 1 by w1
  go 1.1 step 0 world 2 hosts 2 lineage 1.1 fresh restart carriers 1
  note generation_started workers 2 world 2
carrier_up w1 w2 job 1
step w1 w2 to 1
beat w1 at 13 snapshot 8
beat w2 at 13 snapshot 12
exit w1 signal 9
  note rank_exited w1 rank 0 signal 9
  freeze 1.2
  start w1 slots 1
  record
ack w2 at 13
ack w1
  carriers 0
  go 1.2 step 13 world 1 hosts 1 lineage 1.1 state h2
  note generation_started workers 1 world 1
  record
ready w1
  freeze 1.3
exit w2 signal 9
  note rank_exited w2 rank 1 signal 9
  freeze 1.4
  start w2 slots 1
  record
ack w2 snapshot 12
ack w1 snapshot 8
ready w2
  freeze 1.5
ack w2 snapshot 12
ack w1 snapshot 8
  record
  carriers 2 by w1
  go 1.5 step 12 world 2 hosts 2 lineage 1.5 restart state h2 carriers 2
  note generation_started workers 2 world 2
step w1 w2 to 13
  note recovered relaunch losses 2 lost 1 carriers relaunch
  record
