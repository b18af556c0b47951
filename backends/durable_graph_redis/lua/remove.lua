-- Remove a thread, but for a card that is to stay.
-- KEYS: the thread; its part of the list.
-- ARGV: 1 the position it must be at, or empty, or "-" if there must be no log; 2 the version that
-- its card must be of, 0 for none, or empty; 3 the card that stays, or empty, 4 its version,
-- 5 a plus and where it says that the log is, or empty, 6 its place in the list.
-- 1: removed. 0: not there, or not as it was expected.
local thread, index = KEYS[1], KEYS[2]
local now = redis.call('HMGET', thread, 'place', 'at', 'version')
if not now[1] then return 0 end
if ARGV[1] == '-' then
  if now[2] then return 0 end
elseif ARGV[1] ~= '' and now[2] ~= ARGV[1] then
  return 0
end
if ARGV[2] ~= '' and tonumber(ARGV[2]) ~= (tonumber(now[3]) or 0) then return 0 end
redis.call('UNLINK', thread)
redis.call('ZREM', index, now[1])
if ARGV[3] ~= '' then
  redis.call('HSET', thread, 'card', ARGV[3], 'version', ARGV[4], 'place', ARGV[6])
  if ARGV[5] ~= '' then redis.call('HSET', thread, 'away', string.sub(ARGV[5], 2)) end
  redis.call('ZADD', index, 0, ARGV[6])
end
return 1
