-- Keep results, and drop some of what is over, or of the oldest if there is too much.
-- KEYS: results; ages; ends; names; count. ARGV: 1 the time, 2 how many to keep, 3 how many to drop
-- at once; then for each: its field, its value, until when it is good, or empty.
local results, ages, ends, names, count = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]

local function drop(fields)
  for _, field in ipairs(fields) do
    redis.call('HDEL', results, field)
    redis.call('ZREM', ages, field)
    redis.call('ZREM', ends, field)
    redis.call('ZREM', names, field)
  end
end

for i = 4, #ARGV, 3 do
  local field = ARGV[i]
  redis.call('HSET', results, field, ARGV[i + 1])
  redis.call('ZADD', ages, redis.call('INCR', count), field)
  redis.call('ZADD', names, 0, field)
  if ARGV[i + 2] == '' then redis.call('ZREM', ends, field)
  else redis.call('ZADD', ends, ARGV[i + 2], field) end
end
drop(redis.call('ZRANGEBYSCORE', ends, '-inf', ARGV[1], 'LIMIT', 0, ARGV[3]))
local over = redis.call('ZCARD', ages) - tonumber(ARGV[2])
if over > 0 then
  drop(redis.call('ZRANGE', ages, 0, math.min(over, tonumber(ARGV[3]) + #ARGV / 3) - 1))
end
return 1
