-- Remove a thread, but for a card that is to stay.
-- KEYS: the thread; its part of the list.
-- ARGV: 1 the position it must be at, or empty, or "-" if there must be no log; 2 the card that stays, or empty, 3 its version,
-- 4 where it says that the log is, or empty, 5 its place in the list.
-- 1: removed. 0: not there, or not as it was expected.
local thread, index = KEYS[1], KEYS[2]
local now = redis.call('HMGET', thread, 'place', 'at', 'version')
if not now[1] then return 0 end
if ARGV[1] == '-' then
  if now[2] then return 0 end
elseif ARGV[1] ~= '' and now[2] ~= ARGV[1] then
  return 0
end
if ARGV[2] ~= '' and tonumber(ARGV[3]) ~= (tonumber(now[3]) or 0) + 1 then return 0 end
redis.call('UNLINK', thread)
redis.call('ZREM', index, now[1])
if ARGV[2] ~= '' then
  redis.call('HSET', thread, 'card', ARGV[2], 'version', ARGV[3], 'place', ARGV[5])
  if ARGV[4] ~= '' then redis.call('HSET', thread, 'away', ARGV[4]) end
  redis.call('ZADD', index, 0, ARGV[5])
end
return 1
