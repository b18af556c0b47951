-- Forget results, so many at once.
-- KEYS: as for keeping. ARGV: 1 and 2 the bounds of their names, 3 how many at most.
-- How many were forgotten.
local fields = redis.call('ZRANGEBYLEX', KEYS[4], ARGV[1], ARGV[2], 'LIMIT', 0, ARGV[3])
for _, field in ipairs(fields) do
  redis.call('HDEL', KEYS[1], field)
  redis.call('ZREM', KEYS[2], field)
  redis.call('ZREM', KEYS[3], field)
  redis.call('ZREM', KEYS[4], field)
end
return #fields
