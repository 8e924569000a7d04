"""What measuring programs and drivers print, as samples; what samples mean: energy and alarms."""
