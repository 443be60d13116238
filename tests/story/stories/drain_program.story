# A program without the library cannot hand over: it starts anew once, when the successor is there.
job launch workers 2 program
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
beat w1 w2
  record
  note generation_started workers 2 world 2
drain w2 in 30000
  record
  launch t18 place 1
+10 hello w3 ticket 18
  welcome w3
  note drained w2
  kill w2 t10
  note worker_joined w3
  start w3 slots 1 replace
  start w1 slots 1 replace
beat w1 w3
  record
  note generation_started workers 2 world 2
