# A program without the library: who comes while the others start would be one more than they were told, so all start anew.
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
+10 close w2
  record
  launch t18 place 1
  note worker_lost w2 closed
  kill w2 t10
  start w1 slots 1 replace
hello w3 ticket 18
  welcome w3
  note worker_joined w3
+10 beat w1
  record
  note generation_started workers 2 world 1
  note recovered relaunch losses 1 lost 0
  start w1 slots 1 replace
  start w3 slots 1 replace
  record
beat w1 w3
  record
  note generation_started workers 2 world 2
