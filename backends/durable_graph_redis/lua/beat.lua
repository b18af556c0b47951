-- Store a sign of life, if there is one, and tell of all. Time is the server's, for everybody.
-- KEYS: the processes. ARGV: 1 how many leases until one is forgotten; 2 a process, 3 what is
-- known of it.
-- Process, microseconds since its last sign of life, what is known of it; and the next.
local processes = KEYS[1]
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
if ARGV[2] then
  -- So that it is stored on a server without memory, too: who lives must not look dead.
  redis.call('HDEL', processes, '')
  redis.call('HSET', processes, ARGV[2], string.format('%.0f ', now) .. ARGV[3])
end
local known = redis.call('HGETALL', processes)
local told = {}
for i = 1, #known, 2 do
  local beat, rest = string.match(known[i + 1], '^(%d+) (.*)$')
  local lease = rest and tonumber(string.match(rest, '^%S+'))
  local age = now - (tonumber(beat) or 0)
  if lease and age > ARGV[1] * lease * 1000000 then
    if ARGV[2] then redis.call('HDEL', processes, known[i]) end
  elseif lease then
    told[#told + 1] = known[i]
    told[#told + 1] = age
    told[#told + 1] = rest
  end
end
return told
