# Nothing has begun: nothing to save.
job launch workers 2
  note job_started
  record
  launch t9 place 0
  launch t10 place 1
hello w1 ticket 9
  welcome w1
  note worker_joined w1
stop signal 15
  record
  shutdown
  note job_finished stop exit 143 steps 0
  finish 143
