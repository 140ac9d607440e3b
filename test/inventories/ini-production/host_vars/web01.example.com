ansible_host: 203.0.113.1
