# Damaged checkpoints beside one that can be used are no reason to stop.
job launch workers 1 checkpoints
  note job_started
  record
  launch t9 place 0
hello w1 ticket 9
  welcome w1
  note worker_joined w1
  start w1 slots 1
ready w1
  freeze 1.1
  record
ack w1
  find
found step 5 damaged
  load w1 step 5
loaded w1 step 5
  record
  go 1.1 step 5 world 1 hosts 1 lineage 1.1 restart state h1
  note generation_started workers 1 world 1
