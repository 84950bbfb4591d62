"""Files of a job, brought in before its command starts and taken out after its end, in a process of their own."""
