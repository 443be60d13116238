# No place can be filled any more: 69.
job launch workers 2
  note job_started
  record
  launch t9 place 0
  launch t10 place 1
launch_failed ticket 9 final
launch_failed ticket 10 final
  record
  shutdown
  note job_finished launch exit 69 steps 0
  finish 69
