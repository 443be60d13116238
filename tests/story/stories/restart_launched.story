# A new coordinator does not launch again what is still to come, as the launcher says; the rest it does.
job launch workers 3 min 1 gather 500
  note job_started
  record
  launch t9 place 0
  launch t10 place 1
  launch t11 place 2
hello w1 ticket 9
  welcome w1
  note worker_joined w1
+500 tick
  start w1 slots 1
ready w1
  freeze 1.1
  record
ack w1
  record
  go 1.1 step 0 world 1 hosts 1 lineage 1.1 fresh restart
  note generation_started workers 1 world 1
step w1 to 1
restart
hello w1
  welcome w1
+900 beat w1
launched t10
+200 tick
  record
  launch t19 place 2
hello w2 ticket 10
  welcome w2
  note worker_joined w2
  start w2 slots 1
ready w2
  freeze 2.2
ack w1 at 4
ack w2
  go 2.2 step 4 world 2 hosts 1 lineage 1.1 state h1
  note generation_started workers 2 world 2
  record
