-- Remove bodies and large values, and fence off whoever has read them, if the log is still where
-- it was.
-- KEYS: the thread.
-- ARGV: 1 the position it must be at, 2 the position afterwards; 3 the head; 4 how many numbers
-- follow, then first and last of each range; then fields of large values.
-- 1: removed. 0: the log is elsewhere.
local thread = KEYS[1]
local at = redis.call('HGET', thread, 'at')
if at ~= ARGV[1] then return 0 end
local last = tonumber(string.match(at, '^%d+'))
local numbers = tonumber(ARGV[4])
for i = 5, 4 + numbers, 2 do
  for seq = math.max(tonumber(ARGV[i]), 1), math.min(tonumber(ARGV[i + 1]), last) do
    local value = redis.call('HGET', thread, 'r:' .. seq)
    local found, link, digest, flags, _, _, _, body
    if value then
      found, link, digest, flags, _, _, _, body = pcall(struct.unpack, '>Bc0Bc0BBc0Hc0I4c0', value)
    end
    if found and flags >= 2 then
      local place = 3 + #link + #digest
      redis.call('HSET', thread, 'r:' .. seq,
        string.sub(value, 1, place - 1) .. string.char(flags - 2) .. string.sub(value, place + 1, body - 1))
    end
  end
end
for i = 5 + numbers, #ARGV do redis.call('HDEL', thread, ARGV[i]) end
redis.call('HSET', thread, 'at', ARGV[2], 'head', ARGV[3])
return 1
