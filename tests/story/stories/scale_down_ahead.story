# The one that shall leave is a step ahead: it stays until the others have that step too.
job launch workers 2
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
scale to 1
  note scaled workers 1
  freeze 1.2
  record
ack w1 at 5
ack w2 at 6
  go 1.2 step 6 world 2 hosts 2 lineage 1.2 state h2 carriers 1
  note generation_started workers 2 world 2
  record
step w1 w2 to 7
  freeze 1.3
ack w1 w2 at 7
  carriers 0
  go 1.3 step 7 world 1 hosts 1 lineage 1.2 state h1
  note generation_started workers 1 world 1
  note worker_lost w2 scaled
  kill w2 t10
  record
