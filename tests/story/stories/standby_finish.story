# The job ends: no other carriers are launched, and none is kept.
job launch workers 2 standby
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
carrier_up w1 runs job 1
carrier_up w2 job 1
step w1 w2 to 1
  record
  carriers 1 standby 2 by w2
carrier_up w1 job 2 standby
carrier_up w2 job 2 standby runs
leave w1 w2 at 9
carrier_lost w2 job 2 standby
  carriers 1
exit w1
exit w2
  record
  shutdown
  note job_finished exit 0 steps 9
  finish 0
+1000 tick
