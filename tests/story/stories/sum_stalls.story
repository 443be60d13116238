# No sum comes, and no program keeps it waiting: carriers that have been there all the time count as
# lost; those that are still to come, or only just came, are waited for.
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
beat w1 w2 at 0
+900 beat w1 w2
+900 beat w1 w2
+900 beat w1 w2
comm_failed w2 after 2000
carrier_up w2 job 1
+100 comm_failed w1 after 2000
step w1 w2 to 1
  record
  carriers 1 standby 2 by w2
carrier_up w1 job 2 standby
carrier_up w2 job 2 standby runs
+900 beat w1 w2 at 1
+900 beat w1 w2
+900 beat w1 w2
comm_failed w2 after 2000
  carriers 0 standby 2
  freeze 1.2
comm_failed w1 after 2000
ack w1 w2 at 4
  carriers 2
  go 1.2 step 4 world 2 hosts 2 lineage 1.1 state h1 carriers 2
  note generation_started workers 2 world 2
  record
carrier_lost w1 job 1
carrier_lost w2 job 1
step w1 w2 to 5
  note recovered in_place losses 0 lost 0 carriers standby
  record
  carriers 2 standby 3 by w1
carrier_up w1 w2 job 3 standby
