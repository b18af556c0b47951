-- Leave a message, unless there is one under its id.
-- KEYS: the thread. ARGV: 1 the id, 2 the message.
-- Whether there is a log; where it is if not here; the message as it is stored; the verdict on it.
local thread, id = KEYS[1], ARGV[1]
local now = redis.call('HMGET', thread, 'at', 'away', 'm:' .. id, 'v:' .. id, 'inbox')
if not now[1] then return {0, now[2]} end
if now[3] then return {1, false, now[3], now[4]} end
local from, to = string.match(now[5] or '1 0', '(%d+) (%d+)')
local number = tonumber(to) + 1
local message = number .. ' ' .. ARGV[2]
redis.call('HSET', thread, 'm:' .. id, message, 'w:' .. number, id, 'inbox', from .. ' ' .. number)
return {1, false, message, false}
