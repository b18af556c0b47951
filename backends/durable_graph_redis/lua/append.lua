-- Extend a log, if it is where the append believes it to be.
-- KEYS: the thread; its part of the list.
-- ARGV: 1 the position it must be at, 2 the position afterwards; 3 the head; 4 the place in the
-- list; 5 the field of the last new record, 6 how its value begins; 7 a new log's card, or empty,
-- 8 its version, 9 a plus and where it says that the log is, or empty; 10 how many fields and
-- values follow, then those; then ids of messages and verdicts on them.
-- 1: stored, now or before. 0: refused.
local thread, index = KEYS[1], KEYS[2]
local now = redis.call('HMGET', thread, 'at', 'place', 'version', 'away')
if (now[1] or '') ~= ARGV[1] then
  local last = redis.call('HGET', thread, ARGV[5])
  if last and string.sub(last, 1, #ARGV[6]) == ARGV[6] then return 1 end
  return 0
end
if ARGV[1] == '' then
  if ARGV[7] == '' then
    if now[4] then return 0 end
  elseif tonumber(ARGV[8]) ~= (tonumber(now[3]) or 0) + 1 then
    return 0
  else
    redis.call('HSET', thread, 'card', ARGV[7], 'version', ARGV[8])
    if ARGV[9] == '' then redis.call('HDEL', thread, 'away')
    else redis.call('HSET', thread, 'away', string.sub(ARGV[9], 2)) end
  end
end
local fields = tonumber(ARGV[10])
-- In one command while Lua's stack can hold it.
local first, last = 11, math.min(10 + fields, 3010)
redis.call('HSET', thread, 'at', ARGV[2], 'head', ARGV[3], 'place', ARGV[4], unpack(ARGV, first, last))
while last < 10 + fields do
  first, last = last + 1, math.min(10 + fields, last + 3000)
  redis.call('HSET', thread, unpack(ARGV, first, last))
end
if now[2] and now[2] ~= ARGV[4] then redis.call('ZREM', index, now[2]) end
redis.call('ZADD', index, 0, ARGV[4])
if #ARGV > 10 + fields then
  for i = 11 + fields, #ARGV, 2 do
    local id = ARGV[i]
    local message = redis.call('HGET', thread, 'm:' .. id)
    if message then
      redis.call('HSET', thread, 'v:' .. id, ARGV[i + 1])
      redis.call('HDEL', thread, 'w:' .. string.match(message, '^%d+'))
    end
  end
  local from, to = string.match(redis.call('HGET', thread, 'inbox') or '1 0', '(%d+) (%d+)')
  from, to = tonumber(from), tonumber(to)
  while from <= to and redis.call('HEXISTS', thread, 'w:' .. from) == 0 do from = from + 1 end
  if to > 0 then redis.call('HSET', thread, 'inbox', from .. ' ' .. to) end
end
return 1
