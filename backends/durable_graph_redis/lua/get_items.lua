-- Items by their fields. KEYS: items; ends. ARGV: fields.
-- For each what is there, and when it expires.
local told = {}
for i = 1, #ARGV do
  told[#told + 1] = redis.call('HGET', KEYS[1], ARGV[i])
  told[#told + 1] = redis.call('ZSCORE', KEYS[2], ARGV[i])
end
return told
