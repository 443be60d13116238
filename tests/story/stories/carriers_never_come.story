# A cut network: carriers never come up.  They are launched less and less often, and it is said.
job launch workers 2 carrier_timeout 800 silence 90000
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
+800 tick
  carriers 0
  freeze 1.2
ack w1 w2
  record
  carriers 2 by w1
  go 1.2 step 0 world 2 hosts 2 lineage 1.1 state h1 carriers 2
  note generation_started workers 2 world 2
+800 tick
  carriers 0
  freeze 1.3
ack w1 w2
  record
  carriers 3 by w1
  go 1.3 step 0 world 2 hosts 2 lineage 1.1 state h1 carriers 3
  note generation_started workers 2 world 2
+800 tick
  carriers 0
  freeze 1.4
ack w1 w2
  record
  carriers 4 by w1
  go 1.4 step 0 world 2 hosts 2 lineage 1.1 state h1 carriers 4
  note generation_started workers 2 world 2
+800 tick
  carriers 0
  note carriers_delayed 4 after 4 tries, 250 ms
  record
+250 tick
  freeze 1.5
ack w1 w2
  record
  carriers 5 by w1
  go 1.5 step 0 world 2 hosts 2 lineage 1.1 state h1 carriers 5
  note generation_started workers 2 world 2
+800 tick
  carriers 0
  note carriers_delayed 5 after 5 tries, 500 ms
  record
+400 tick
+100 tick
  freeze 1.6
ack w1 w2
  record
  carriers 6 by w1
  go 1.6 step 0 world 2 hosts 2 lineage 1.1 state h1 carriers 6
  note generation_started workers 2 world 2
carrier_up w1 w2 job 6
step w1 w2 to 1
  note recovered in_place losses 0 lost 0 carriers relaunch
  record
carrier_lost w1 job 6
  carriers 0
  freeze 1.7
ack w1 w2
  record
  carriers 7 by w1
  go 1.7 step 1 world 2 hosts 2 lineage 1.6 state h1 carriers 7
  note generation_started workers 2 world 2
